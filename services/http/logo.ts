/** A film reel with a moon in the middle. */
const reel = `<circle cx="32" cy="32" r="30" fill="#6d5ce7"/>
<g fill="#17132f"><circle cx="32" cy="13" r="7"/><circle cx="50" cy="26" r="7"/><circle cx="43" cy="47" r="7"/><circle cx="21" cy="47" r="7"/><circle cx="14" cy="26" r="7"/></g>
<path d="M35 23a10 10 0 1 0 7 14 9 9 0 0 1-7-14z" fill="#ffe9a8"/>`

/** The favicon, as SVG. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">${reel}</svg>`

/** The reel with the name beside it, for a dark background, as SVG. */
export const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 290 64" width="181" height="40">${reel}
<text x="76" y="43" font-family="system-ui, sans-serif" font-size="32" font-weight="600" fill="#fff">Dreamreel</text></svg>`
