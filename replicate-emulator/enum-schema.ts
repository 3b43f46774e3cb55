import { Kind, Type, TypeRegistry } from '@sinclair/typebox'

const kind = 'EmulatorWord'

TypeRegistry.Set<{ enum: readonly unknown[] }>(kind, ({ enum: values }, value) => values.includes(value))

/**
 * One of several strings, as a plain JSON Schema enum: a union of literals would give one error for each string. It is a kind of
 * its own, because TypeBox's `Value` cannot check an unsafe type.
 */
export function enumSchema<Value extends string> (values: readonly Value[]) {
  return Type.Unsafe<Value>({ [Kind]: kind, type: 'string', enum: [...values] })
}
