import { Kind, Type, TypeRegistry } from '@sinclair/typebox'

const WORD = 'EmulatorWord'

TypeRegistry.Set<{ enum: readonly unknown[] }>(WORD, ({ enum: words }, value) => words.includes(value))

/**
 * One of some words, as a plain JSON Schema enum: a union of literals would give one fault for each word. A kind of
 * its own, because TypeBox's `Value` cannot check an unsafe type.
 */
export function wordSchema<Word extends string> (words: readonly Word[]) {
  return Type.Unsafe<Word>({ [Kind]: WORD, type: 'string', enum: [...words] })
}
