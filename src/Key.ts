/**
 * Datastore keys: the path that names an entity, with structural equality and Datastore's own order.
 *
 * A key is a path of one or more elements, each a kind and an id (a name or a positive integer). Project, database and
 * namespace are not part of it: they belong to the layer that talks to Datastore. Keys are immutable, compare by value
 * with `Equal.equals`, work as keys of `HashMap`, and print as `Parent,1/Child,"x"`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Order_ from "effect/Order"
import { hasProperty } from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"

const TypeId = "~eventbox/Key"

/**
 * Bytes of UTF-8 that a kind or a name may have. Source: Datastore limits, "Key name" and "Kind".
 *
 * @category limits
 * @since 0.1.0
 */
export const maxNameBytes = 1_500

/**
 * Elements that a path may have. Source: Datastore limits, "path elements".
 *
 * @category limits
 * @since 0.1.0
 */
export const maxPathElements = 100

/**
 * Bytes that a whole key may have. Source: Datastore limits, "Maximum size for a key", 6 KiB.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxKeyBytes = 6 * 1024

/**
 * The id of one path element: a name, or a positive integer of at most 63 bits.
 *
 * **Details**
 *
 * An integer is a `number` in the safe range and a `bigint` beyond it; constructors accept both and normalise.
 *
 * @category models
 * @since 0.1.0
 */
export type Id = string | number | bigint

/**
 * One element of a key's path.
 *
 * @category models
 * @since 0.1.0
 */
export interface PathElement {
  readonly kind: string
  readonly id: Id
}

/**
 * The name of an entity: a path from the root ancestor to the entity itself.
 *
 * **Details**
 *
 * Two keys with the same path are equal (`Equal.equals`), whichever way they were made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Key extends Equal.Equal {
  readonly [TypeId]: typeof TypeId
  /** From the root ancestor to the entity; never empty. */
  readonly path: readonly [PathElement, ...Array<PathElement>]
  /** Kind of the last path element. */
  readonly kind: string
  /** Id of the last path element. */
  readonly id: Id
  /** Key of the path without its last element; `undefined` for a root. */
  readonly parent: Key | undefined
  /** The canonical string form, as {@link format} returns it. */
  readonly toString: () => string
}

/**
 * The parts given do not make a valid key.
 *
 * **Details**
 *
 * `input` is the text or path that was refused, `reason` says which rule it breaks. Not retryable: fix the input.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyError extends Schema.TaggedError<KeyError>("eventbox/KeyError")("KeyError", {
  input: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `Invalid Datastore key ${this.input}: ${this.reason}`
  }
  /** Never: the same input is refused again. */
  get isRetryable(): boolean {
    return false
  }
}

class KeyImpl implements Key {
  readonly [TypeId] = TypeId as typeof TypeId
  readonly path: readonly [PathElement, ...Array<PathElement>]
  /** The key it was made from as a child, whose text is then made once for all its children. */
  private readonly above: Key | undefined
  private text: string | undefined
  constructor(path: readonly [PathElement, ...Array<PathElement>], above?: Key) {
    this.path = path
    this.above = above
    this.text = undefined
  }
  get kind(): string {
    return this.path[this.path.length - 1]!.kind
  }
  get id(): Id {
    return this.path[this.path.length - 1]!.id
  }
  get parent(): Key | undefined {
    if (this.above !== undefined) return this.above
    const [first, ...rest] = this.path.slice(0, -1)
    return first === undefined ? undefined : new KeyImpl([first, ...rest])
  }
  toString(): string {
    return this.text ??= this.above === undefined
      ? this.path.map(formatElement).join("/")
      : `${this.above.toString()}/${formatElement(this.path[this.path.length - 1]!)}`
  }
  toJSON(): string {
    return this.toString()
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Key(${this.toString()})`
  }
  [Equal.symbol](that: unknown): boolean {
    return isKey(that) && this.toString() === that.toString()
  }
  [Hash.symbol](): number {
    return Hash.string(this.toString())
  }
}

/**
 * Whether a value is a {@link Key}.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKey = (u: unknown): u is Key => hasProperty(u, TypeId)

/**
 * Makes a key from kinds and ids in turn, root first: `Key.make("Parent", 1, "Child", "x")`.
 *
 * **Details**
 *
 * Kinds and names: 1 to 1,500 bytes of UTF-8, not of the form `__…__`, no lone surrogates. Integer ids: 1 to 2^63 - 1,
 * as a safe integer or a `bigint`. At most 100 elements and 6 KiB in all. Throws a {@link KeyError} otherwise, which
 * inside an Effect is a defect: use {@link makeResult} for ids that come from outside the program.
 *
 * **Example** (A child of a numbered parent)
 *
 * ```ts
 * import { Key } from "effect-eventbox"
 *
 * Key.make("Parent", 1, "Child", "x").toString() // => 'Parent,1/Child,"x"'
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (...parts: readonly [kind: string, id: Id, ...rest: ReadonlyArray<Id>]): Key =>
  Result.getOrThrow(makeResult(...parts))

/**
 * Makes a key as {@link make} does, with a {@link KeyError} as a value for parts that break a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeResult = (...parts: ReadonlyArray<Id>): Result.Result<Key, KeyError> => {
  if (parts.length === 0 || parts.length % 2 !== 0) return refuse(show(parts), "give kinds and ids in turn, in pairs")
  const path: Array<PathElement> = []
  for (let index = 0; index < parts.length; index += 2) {
    path.push({ kind: parts[index] as string, id: parts[index + 1]! })
  }
  return fromPathResult(path)
}

/**
 * Makes a key from path elements, as {@link make} does; throws a {@link KeyError} for a path that breaks a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPath = (path: ReadonlyArray<PathElement>): Key => Result.getOrThrow(fromPathResult(path))

/**
 * Makes a key from path elements, with a {@link KeyError} as a value for a path that breaks a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPathResult = (path: ReadonlyArray<PathElement>): Result.Result<Key, KeyError> => {
  const problem = checkPath(path)
  if (problem !== undefined) {
    return refuse(show(path.slice(0, 5).flatMap((element) => [element.kind, element.id])), problem)
  }
  return Result.succeed(
    new KeyImpl(path.map(({ id, kind }) => ({ kind, id: normaliseId(id) })) as unknown as Key["path"])
  )
}

/**
 * What is wrong with a path, or `undefined`: for keys that were made without checks.
 *
 * @internal
 */
export const checkPath = (path: ReadonlyArray<PathElement>): string | undefined => {
  if (path.length === 0) return "a path has at least one element"
  if (path.length > maxPathElements) return `a path has at most ${maxPathElements} elements, got ${path.length}`
  let bytes = 0
  for (const { id, kind } of path) {
    const problem = checkText("a kind", kind) ?? checkId(id)
    if (problem !== undefined) return problem
    bytes += elementBytes(kind, id)
  }
  return bytes > maxKeyBytes ? `a key has at most ${maxKeyBytes} bytes, got ${bytes}` : undefined
}

/**
 * The key of a child: `Key.child(parent, "Child", "x")`. Throws a {@link KeyError} for a part that breaks a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const child = (parent: Key, kind: string, id: Id): Key => fromPath([...parent.path, { kind, id }])

/**
 * Makes a child key without checks, for parts that were checked before or come from Datastore.
 *
 * @internal
 */
export const childUnsafe = (parent: Key, kind: string, id: Id): Key =>
  new KeyImpl([...parent.path, { kind, id }], parent)

/**
 * Makes a key from a path without checks, for parts that come from Datastore; integer ids must be normalised.
 *
 * @internal
 */
export const fromPathUnsafe = (path: readonly [PathElement, ...Array<PathElement>]): Key => new KeyImpl(path)

/**
 * An integer id as keys hold it: a `number` in the safe range, a `bigint` beyond.
 *
 * @internal
 */
export const normaliseId = (id: Id): Id =>
  typeof id === "bigint" && id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : id

/**
 * What is wrong with a name of a path element, or `undefined`; the rule for the ids of events too.
 *
 * @internal
 */
export const checkName = (name: unknown): string | undefined => checkText("a name", name)

/**
 * Whether `ancestor` is `key` itself or one of its ancestors.
 *
 * @category guards
 * @since 0.1.0
 */
export const isWithin = (key: Key, ancestor: Key): boolean =>
  ancestor.path.length <= key.path.length &&
  ancestor.path.every((element, index) => compareElements(element, key.path[index]!) === 0)

/**
 * Datastore's key order: element by element, kinds by their UTF-8 bytes, integer ids before names; a parent comes
 * before its children.
 *
 * **Gotchas**
 *
 * JavaScript's `<` on strings compares UTF-16 units and puts `"\u{1F600}"` before `"\uFF5E"`; Datastore does not.
 *
 * @category ordering
 * @since 0.1.0
 */
export const Order: Order_.Order<Key> = Order_.make((self, that) => {
  const shared = Math.min(self.path.length, that.path.length)
  for (let index = 0; index < shared; index++) {
    const order = compareElements(self.path[index]!, that.path[index]!)
    if (order !== 0) return order
  }
  return sign(self.path.length - that.path.length)
})

/**
 * Compares two strings by their UTF-8 bytes (which is the order of their code points).
 *
 * @internal
 */
export const compareUtf8 = (self: string, that: string): -1 | 0 | 1 => {
  if (self === that) return 0
  const shared = Math.min(self.length, that.length)
  for (let index = 0; index < shared; index++) {
    const a = self.charCodeAt(index)
    const b = that.charCodeAt(index)
    if (a === b) continue
    // Units of a surrogate pair stand for code points above every single unit.
    const aHigh = a >= 0xd800 && a <= 0xdfff
    const bHigh = b >= 0xd800 && b <= 0xdfff
    if (aHigh !== bHigh) return aHigh ? 1 : -1
    return a < b ? -1 : 1
  }
  return sign(self.length - that.length)
}

/**
 * Bytes of UTF-8 in a string, without encoding it.
 *
 * @internal
 */
export const utf8Bytes = (text: string): number => {
  let bytes = text.length
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) continue
    // Each half of a surrogate pair makes two of its four bytes.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return bytes
}

/**
 * Size of a key as Datastore counts it, in bytes: kinds, names and 8 per integer id, 16 for the whole.
 * Source: Datastore documentation, "Storage size calculations".
 *
 * @internal
 */
export const sizeBytes = (key: Key): number => key.path.reduce((sum, { id, kind }) => sum + elementBytes(kind, id), 16)

/**
 * The canonical string form: elements joined by `/`, each `kind,id`; names in JSON quotes, integers bare.
 *
 * **Details**
 *
 * A kind made of letters, digits, `_`, `.` and `-` stands bare, any other in JSON quotes. Equal keys have the same
 * string, and {@link parse} reads it back.
 *
 * @category string form
 * @since 0.1.0
 */
export const format = (key: Key): string => key.toString()

/**
 * Reads the string form that {@link format} writes.
 *
 * **Details**
 *
 * Fails with a {@link KeyError} that holds the text and says what is wrong with it.
 *
 * **Example** (There and back)
 *
 * ```ts
 * import { Key } from "effect-eventbox"
 * import { Result } from "effect"
 *
 * Result.map(Key.parse('Run,"r1"'), Key.format) // => Result.succeed('Run,"r1"')
 * ```
 *
 * @category string form
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<Key, KeyError> => {
  const path: Array<PathElement> = []
  const element = /(?:([A-Za-z0-9_.-]+)|("(?:[^"\\]|\\.)*")),(?:([0-9]+)|("(?:[^"\\]|\\.)*"))(\/|$)/y
  let at = 0
  while (true) {
    element.lastIndex = at
    const found = element.exec(text)
    if (found === null) return refuse(JSON.stringify(text), `expected kind,id or kind,"name" at position ${at}`)
    const kind = found[1] ?? unquote(found[2]!)
    const id = found[3] === undefined ? unquote(found[4]!) : normaliseId(BigInt(found[3]))
    if (kind === undefined || id === undefined) return refuse(JSON.stringify(text), `bad quoting at position ${at}`)
    path.push({ kind, id })
    at = element.lastIndex
    if (found[5] === "") return fromPathResult(path)
  }
}

/**
 * Schema of a key: a {@link Key} in the program, its string form when encoded.
 *
 * **When to use**
 *
 * For events and states that mention entities.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FromString: Schema.Codec<Key, string> = Schema.String.pipe(
  Schema.decodeTo(Schema.declare(isKey, { title: "Key" }), {
    decode: SchemaGetter.transformEffect((text: string, options) =>
      Result.match(parse(text), {
        onSuccess: (key) => Effect.succeed(key),
        onFailure: (error) => Effect.fail(new SchemaIssue.InvalidValue({ message: error.reason }, text, options))
      })
    ),
    encode: SchemaGetter.transform(format)
  })
)

const refuse = (input: string, reason: string): Result.Result<never, KeyError> =>
  Result.fail(new KeyError({ input, reason }))

const sign = (n: number): -1 | 0 | 1 => n < 0 ? -1 : n > 0 ? 1 : 0

const show = (parts: ReadonlyArray<unknown>): string =>
  parts.length === 0
    ? "(empty)"
    : parts.map((part) => typeof part === "string" ? JSON.stringify(part.slice(0, 60)) : String(part)).join(",")

const checkText = (what: string, text: unknown): string | undefined => {
  if (typeof text !== "string") return `${what} is a string, got ${text === null ? "null" : typeof text}`
  if (text === "") return `${what} is not empty`
  if (!text.isWellFormed()) return `${what} has no lone surrogates`
  if (text.startsWith("__") && text.endsWith("__")) return `${what} of the form __…__ is reserved by Datastore`
  const bytes = utf8Bytes(text)
  return bytes > maxNameBytes ? `${what} has at most ${maxNameBytes} bytes of UTF-8, got ${bytes}` : undefined
}

const checkId = (id: unknown): string | undefined => {
  switch (typeof id) {
    case "string":
      return checkText("a name", id)
    case "number":
      return Number.isSafeInteger(id) && id > 0 ? undefined : "an integer id is positive; use a bigint above 2^53 - 1"
    case "bigint":
      return id > BigInt(0) && id < BigInt(2) ** BigInt(63) ? undefined : "an integer id lies between 1 and 2^63 - 1"
    default:
      return `an id is a name or an integer, got ${id === null ? "null" : typeof id}`
  }
}

const elementBytes = (kind: string, id: Id): number =>
  utf8Bytes(kind) + 1 + (typeof id === "string" ? utf8Bytes(id) + 1 : 8)

const compareElements = (self: PathElement, that: PathElement): -1 | 0 | 1 => {
  // Children made from one parent share its elements.
  if (self === that) return 0
  const kinds = compareUtf8(self.kind, that.kind)
  if (kinds !== 0) return kinds
  if (typeof self.id === "string") return typeof that.id === "string" ? compareUtf8(self.id, that.id) : 1
  if (typeof that.id === "string") return -1
  return self.id < that.id ? -1 : self.id > that.id ? 1 : 0
}

const formatElement = ({ id, kind }: PathElement): string =>
  `${/^[A-Za-z0-9_.-]+$/.test(kind) ? kind : JSON.stringify(kind)},${
    typeof id === "string" ? JSON.stringify(id) : String(id)
  }`

const unquote = (quoted: string): string | undefined => {
  const parsed = Result.try(() => JSON.parse(quoted) as string)
  return Result.isSuccess(parsed) ? parsed.success : undefined
}
