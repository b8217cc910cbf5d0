/**
 * What may be shown of a text that is not ours: the value of a setting, or the message of a library that has seen
 * credentials. People paste a key where its path belongs, and libraries quote what they could not read.
 */

/** The value of a setting in quotes; one that could be a secret is only described. */
export const shown = (value: string): string =>
  value.length <= 64 && !/[{}@\n]|[\w+=-]{32}/.test(value) ? JSON.stringify(value) : `${value.length} characters`

/** Whether a text looks like a path and like nothing that must not be shown, such as a key or a token. */
export const isPath = (text: string): boolean =>
  text.length <= 512 && /[/\\]|\.\w{1,8}$/.test(text) && !/[{}"<>\r\n]|PRIVATE KEY|[\w+=-]{40}/.test(text)

/** A word, a small number, or a dotted name such as that of a host or a permission. */
const plain =
  /^\(?(?:[A-Za-z][A-Za-z_'-]{0,23}|\d{1,5}|'?[A-Za-z][A-Za-z\d]{0,18}(?:\.[A-Za-z][A-Za-z\d]{0,18}){1,5}'?)[.,:;!?)]*$/

/**
 * The beginning of a message, up to the first thing that is not plain; `undefined` when nothing is left. Keys, tokens,
 * JSON and PEM never pass, whoever wrote the message.
 */
export const plainWords = (message: string): string | undefined => {
  const words = message.slice(0, 1_000).trim().split(/\s+/)
  const end = words.findIndex((word) => !plain.test(word))
  if (end < 0) return words.join(" ")
  return end === 0 ? undefined : `${words.slice(0, end).join(" ")} …`
}
