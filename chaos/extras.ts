/**
 * The optional parts of a run, by name: `--with clock-steps,list-lag`, `--with all`, `--with none`.
 *
 * - `same-dreams`: half of the tasks have one of a few dreams;
 * - `cancel`: clients cancel some of their tasks and post the same dream again;
 * - `clock-steps`: Replicate's clock steps, and so does the clock of one process of the service if the machine has libfaketime;
 * - `list-lag`, `list-maimed`: the list is late, or its items lack members;
 * - `list-broken`: the list fails while single reads succeed, or the other way round;
 * - `foreign`: other clients of the account make predictions of the same input;
 * - `downloads`: downloads of files break off, stall, are slow, refused or redirected, or have no ranges;
 * - `no-videos`: the file of some predictions is no video;
 * - `wiped`: the data and files of some predictions are removed within seconds after their end;
 * - `paid-in-vain`: the run fails if a prediction was paid for and not used; without it the figure is only printed.
 */
export const extras = [
  'same-dreams', 'cancel', 'clock-steps', 'list-lag', 'list-maimed', 'list-broken', 'foreign', 'downloads', 'no-videos', 'wiped',
  'paid-in-vain'
] as const
export type Extra = typeof extras[number]
export type Extras = ReadonlySet<Extra>

/** For a run without `--with`. */
export const defaultExtras = 'all'

/**
 * @param text `all`, `none` or names separated by commas
 * @throws Error that lists the names if one is not known
 */
export function readExtras (text: string): Extras {
  const names = text === 'all' ? extras : text === 'none' ? [] : text.split(',')
  return new Set(names.map((name) => {
    const known = extras.find((extra) => extra === name)
    if (known === undefined) throw new Error(`--with takes all, none, or some of ${extras.join(',')}, not ${JSON.stringify(name)}`)
    return known
  }))
}
