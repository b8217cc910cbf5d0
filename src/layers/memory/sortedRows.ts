/**
 * Rows in key order: the index of the store in memory.
 */
import * as Key from "../../Key.ts"

/**
 * Rows in key order, in chunks of bounded length: one array would move its whole tail on every insert.
 */
export class SortedRows<Row extends { readonly key: Key.Key }> {
  private readonly chunks: Array<Array<Row>> = []
  /** Where the last change ended: batches come in key order, so most changes need no search. */
  private last: Position = [0, 0]

  insert(row: Row): void {
    let [at, index] = this.followsLast(row.key) ? this.last : this.seek((key) => Key.Order(key, row.key) >= 0)
    // Behind the last row of all, or in front of the first row of a chunk: both go to the end of the chunk before.
    if (index === 0 && at > 0) index = this.chunks[--at]!.length
    const chunk = this.chunks[at]
    if (chunk === undefined) {
      this.chunks.push([row])
    } else {
      chunk.splice(index, 0, row)
      if (chunk.length > maxChunkRows) this.chunks.splice(at + 1, 0, chunk.splice(chunk.length >> 1))
    }
    this.last = [at, index + 1]
  }

  remove(row: Row): void {
    const [at, index] = this.rowAt(this.last) === row ? this.last : this.seek((key) => Key.Order(key, row.key) >= 0)
    const chunk = this.chunks[at]!
    chunk.splice(index, 1)
    if (chunk.length === 0) this.chunks.splice(at, 1)
    this.last = chunk.length > index ? [at, index] : [at + (chunk.length === 0 ? 0 : 1), 0]
  }

  private rowAt([at, index]: Position): Row | undefined {
    return this.chunks[at]?.[index]
  }

  /** Whether a key belongs exactly where the last change ended, as the next one of an ascending batch does. */
  private followsLast(key: Key.Key): boolean {
    const [at, index] = this.last
    const before = this.rowAt([at, index - 1])
    const after = this.rowAt([at, index]) ?? this.rowAt([at + 1, 0])
    return before !== undefined && Key.Order(before.key, key) < 0 &&
      (after === undefined || Key.Order(key, after.key) < 0)
  }

  /** Rows from the first one that `starts` on, before the first one that is `past`; both stay true once they are. */
  between(starts: (key: Key.Key) => boolean, past: (key: Key.Key) => boolean, limit: number): Array<Row> {
    const found: Array<Row> = []
    const [endAt, endIndex] = this.seek(past)
    let [at, index] = this.seek(starts)
    for (; at < this.chunks.length && at <= endAt && found.length < limit; at++, index = 0) {
      const chunk = this.chunks[at]!
      const end = Math.min(at === endAt ? endIndex : chunk.length, index + limit - found.length)
      for (; index < end; index++) found.push(chunk[index]!)
    }
    return found
  }

  /** Chunk and index of the first row whose key passes; `test` stays true once it is. O(log rows). */
  private seek(test: (key: Key.Key) => boolean): Position {
    const at = firstIndex(this.chunks, (chunk) => test(chunk[chunk.length - 1]!.key))
    const chunk = this.chunks[at]
    return [at, chunk === undefined ? 0 : firstIndex(chunk, (row) => test(row.key))]
  }
}

type Position = readonly [chunk: number, index: number]

const maxChunkRows = 256

const firstIndex = <A>(values: ReadonlyArray<A>, test: (value: A) => boolean): number => {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (test(values[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}
