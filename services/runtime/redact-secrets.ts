export type Redact = (text: string) => string

/** What is shorter would be found in ordinary words. */
const minSecretLength = 8
const replacement = '[redacted]'
/** Tokens of Replicate and secrets of Standard Webhooks, also those that this process does not have. */
const knownFormats = /\br8_\w{16,}|\bwhsec_[\w+/=]{16,}/g

/**
 * Makes a function that takes secrets out of a text, in each form in which a text may hold them: as they are, inside a JSON
 * string, and percent-encoded.
 * @param secrets values of fewer than 8 characters are left alone
 */
export function createRedactor (secrets: readonly string[]): Redact {
  const forms = new Set(secrets.filter((secret) => secret.length >= minSecretLength).flatMap(encodeForms))
  // The longest first, so that one secret inside another leaves nothing of the longer one.
  const inOrder = Array.from(forms).sort((a, b) => b.length - a.length)
  return (text) => inOrder.reduce((left, form) => left.replaceAll(form, replacement), text).replace(knownFormats, replacement)
}

function encodeForms (secret: string): string[] {
  return [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]
}
