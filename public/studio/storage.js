/** What the page keeps in the browser. Where the user does not allow that, it is kept in the page only. */

/** Until the tab is closed. */
export const session = makeStore('sessionStorage')
/** For all tabs, until the user removes it. */
export const local = makeStore('localStorage')

/** @param {'sessionStorage' | 'localStorage'} name */
function makeStore (name) {
  /** @type {Map<string, string>} */
  const kept = new Map()
  return {
    /**
     * @param {string} key
     * @returns {string | null}
     */
    get (key) {
      try {
        return window[name].getItem(key)
      } catch {
        return kept.get(key) ?? null
      }
    },
    /**
     * @param {string} key
     * @param {string | null} value null removes it
     */
    set (key, value) {
      try {
        if (value === null) window[name].removeItem(key)
        else window[name].setItem(key, value)
      } catch {
        if (value === null) kept.delete(key)
        else kept.set(key, value)
      }
    }
  }
}
