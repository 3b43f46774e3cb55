// Not a module, so that it runs before the page is painted.
try {
  const theme = localStorage.getItem('dreamreel.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // The user does not let the page keep anything.
}
