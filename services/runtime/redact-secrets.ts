export type Redact = (text: string) => string

/** Shorter secrets are not replaced, because they also occur in ordinary words. */
const minSecretLength = 8
const replacement = '[redacted]'
/** The formats of Replicate's tokens, of secrets of Standard Webhooks and of API keys. Unknown ones are replaced, too. */
const knownFormats = /\br8_\w{16,}|\bwhsec_[\w+/=]{16,}|\bdrm_[\w-]{16,}/g

/**
 * Makes a function that replaces secrets in a text, in each form in which it may contain them: as they are, as part of a JSON string,
 * and percent-encoded.
 * @param secrets values of fewer than 8 characters are left alone
 */
export function createRedactor (secrets: readonly string[]): Redact {
  const forms = new Set(secrets.filter((secret) => secret.length >= minSecretLength).flatMap(encodeForms))
  // The longest first: if one secret contains another, no part of the longer one is left.
  const inOrder = Array.from(forms).sort((a, b) => b.length - a.length)
  return (text) => inOrder.reduce((left, form) => left.replaceAll(form, replacement), text).replace(knownFormats, replacement)
}

function encodeForms (secret: string): string[] {
  return [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]
}
