/**
 * What a run may have besides the usual, each by its name: `--with clock-steps,list-lag`, `--with all`, `--with none`.
 *
 * - `same-dreams`: half of the dreams are one of a few;
 * - `cancel`: clients cancel some of their tasks and ask for the same dream again;
 * - `clock-steps`: Replicate's clock steps, and that of one process of the service where libfaketime is on the machine;
 * - `list-lag`, `list-maimed`, `list-broken`: the list is late, lacks members, or fails while single reads are well, or they alone;
 * - `foreign`: other clients of the account make predictions of the same input;
 * - `paid-in-vain`: a prediction that was paid for and is not used fails the run; without it the figure is only printed.
 */
export const extras = ['same-dreams', 'cancel', 'clock-steps', 'list-lag', 'list-maimed', 'list-broken', 'foreign', 'paid-in-vain'] as const
export type Extra = typeof extras[number]
export type Extras = ReadonlySet<Extra>

/** Of a run that does not say: `all`, `none` or names. */
export const usualExtras = 'all'

/** @throws Error that says which names there are */
export function readExtras (text: string): Extras {
  const names = text === 'all' ? extras : text === 'none' ? [] : text.split(',')
  return new Set(names.map((name) => {
    const known = extras.find((extra) => extra === name)
    if (known === undefined) throw new Error(`--with takes all, none, or some of ${extras.join(',')}, not ${JSON.stringify(name)}`)
    return known
  }))
}
