/**
 * Splitting what need not be atomic into commits.
 */

/** What goes into one commit. */
export interface Part<out A> {
  readonly items: ReadonlyArray<A>
  readonly bytes: number
}

/** Writes and deletes in one commit that could as well be several. */
export const maxPartItems = 500

/** Splits items, in order, into parts of at most 500 and so many bytes, but for a single item that has more. */
export const splitBySize = <A>(
  items: ReadonlyArray<A>,
  bytesOf: (item: A) => number,
  maxBytes: number
): ReadonlyArray<Part<A>> => {
  const parts: Array<Part<A>> = []
  let open: Array<A> = []
  let bytes = 0
  const close = (): void => {
    if (open.length > 0) parts.push({ items: open, bytes })
    open = []
    bytes = 0
  }
  for (const item of items) {
    const size = bytesOf(item)
    if (open.length >= maxPartItems || bytes + size > maxBytes) close()
    open.push(item)
    bytes += size
  }
  close()
  return parts
}
