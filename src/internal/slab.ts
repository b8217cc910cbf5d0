/**
 * Memory for small blobs, many of which share a slab, as Node's buffers do: a buffer of its own costs 20 times as much.
 *
 * What is handed out is never handed out again. It keeps its slab of 16 KiB alive, so this is for what lives shortly,
 * and for stores in memory, whose blobs are many.
 */
const slabBytes = 16 * 1_024
const maxSharedBytes = slabBytes / 4

let slab = new Uint8Array(slabBytes)
let used = 0

/** Zeros. */
export const allocate = (size: number): Uint8Array => {
  if (size > maxSharedBytes) return new Uint8Array(size)
  makeRoom(size)
  return slab.subarray(used, used += size)
}

/** A copy. */
export const copyBytes = (bytes: Uint8Array): Uint8Array => {
  const copy = allocate(bytes.length)
  copy.set(bytes)
  return copy
}

/** UTF-8 of a text. */
export const encodeText = (text: string): Uint8Array => {
  const most = text.length * 3
  if (most > maxSharedBytes) return textEncoder.encode(text)
  makeRoom(most)
  const { written } = textEncoder.encodeInto(text, slab.subarray(used, used + most))
  return slab.subarray(used, used += written)
}

const textEncoder = new TextEncoder()

const makeRoom = (size: number): void => {
  // Not `slabBytes`: a slab that somebody has transferred to a worker has no bytes left.
  if (used + size <= slab.length) return
  slab = new Uint8Array(slabBytes)
  used = 0
}
