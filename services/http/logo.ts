/** A moon in a dark room. */
const moon = `<circle cx="32" cy="32" r="30" fill="#24232c"/>
<path d="M43 41A15 15 0 1 1 30 17a12 12 0 0 0 13 24z" fill="#ee8c4f"/>`

/** The favicon, as SVG. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">${moon}</svg>`

/** The moon with the name beside it, for a dark background, as SVG. */
export const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 290 64" width="181" height="40">${moon}
<text x="76" y="43" font-family="system-ui, sans-serif" font-size="32" font-weight="600" fill="#fff">Dreamreel</text></svg>`
