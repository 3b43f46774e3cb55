// Not a module, so that it runs before the page is painted.
const theme = localStorage.getItem('dreamreel.theme')
if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
