/**
 * Line charts as SVG, readable on light and on dark pages: lines with their names at their ends, logarithmic axes.
 */

/** A line of a chart. */
export interface Series {
  readonly name: string
  readonly tone: Tone
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
  /** Whether the line ends because it could not go on: its last point is crossed out. */
  readonly stopped?: boolean
  readonly dashed?: boolean
}

/** Which of the colours of a chart a line has. */
export type Tone = "ours" | "other" | "plain"

/** One chart of a figure. */
export interface Panel {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: ReadonlyArray<Series>
}

/** An axis of a chart. */
export interface Axis {
  readonly label: string
  readonly scale: "log" | "linear"
  /** Marks of a linear axis; those of a logarithmic one are the powers of ten. */
  readonly ticks?: ReadonlyArray<number>
}

const panelWidth = 420
const panelHeight = 320
const margin = { left: 76, right: 100, top: 44, bottom: 50 }
const inner = { width: panelWidth - margin.left - margin.right, height: panelHeight - margin.top - margin.bottom }

const style = `
  .page { fill: #ffffff } .text { fill: #24292f } .soft { fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round } .dashed { stroke-dasharray: 6 4 }
  .ours { stroke: #0969da } .other { stroke: #bc4c00 } .plain { stroke: #6e7781 }
  .dot { stroke-width: 0 } .dot.ours, .name.ours { fill: #0969da; stroke: none }
  .dot.other, .name.other { fill: #bc4c00; stroke: none } .dot.plain, .name.plain { fill: #6e7781; stroke: none }
  .name { font-weight: 600 } .halo { paint-order: stroke; stroke: #ffffff; stroke-width: 4 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .text { fill: #e6edf3 } .soft { fill: #9198a1 }
    .grid { stroke: #30363d } .axis { stroke: #9198a1 } .halo { stroke: #0d1117 }
    .ours { stroke: #58a6ff } .other { stroke: #f0883e } .plain { stroke: #9198a1 }
    .dot.ours, .name.ours { fill: #58a6ff } .dot.other, .name.other { fill: #f0883e }
    .dot.plain, .name.plain { fill: #9198a1 }
  }`

/** Draws panels side by side; `description` is what a reader without the picture is told. */
export const drawFigure = (description: string, panels: ReadonlyArray<Panel>): string => {
  const width = panels.length * panelWidth
  const parts = panels.map((panel, index) =>
    `<g transform="translate(${index * panelWidth} 0)">\n${drawPanel(panel)}\n</g>`
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${panelHeight}" width="${width}" height="${panelHeight}" ` +
    `role="img" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12">`,
    `<title>${escape(description)}</title>`,
    `<style>${style}\n</style>`,
    `<rect class="page" width="${width}" height="${panelHeight}"/>`,
    ...parts,
    "</svg>\n"
  ].join("\n")
}

const drawPanel = ({ series, title, x, y }: Panel): string => {
  const across = scaleOf(x, series.flatMap(({ points }) => points.map(([value]) => value)), inner.width)
  const up = scaleOf(y, series.flatMap(({ points }) => points.map(([, value]) => value)), inner.height)
  const px = (value: number) => round(margin.left + across.place(value))
  const py = (value: number) => round(margin.top + inner.height - up.place(value))
  const bottom = margin.top + inner.height
  const right = margin.left + inner.width
  return [
    text(margin.left, 22, "text", title, "font-size=\"14\" font-weight=\"600\""),
    ...up.ticks.flatMap((tick) => [
      `<line class="grid" x1="${margin.left}" x2="${right}" y1="${py(tick)}" y2="${py(tick)}"/>`,
      text(margin.left - 8, py(tick) + 4, "soft", short(tick), "text-anchor=\"end\"")
    ]),
    ...across.ticks.map((tick) => text(px(tick), bottom + 18, "soft", short(tick), "text-anchor=\"middle\"")),
    ...across.ticks.map((tick) =>
      `<line class="axis" x1="${px(tick)}" x2="${px(tick)}" y1="${bottom}" y2="${bottom + 4}"/>`
    ),
    `<line class="axis" x1="${margin.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    text(margin.left + inner.width / 2, bottom + 38, "text", x.label, "text-anchor=\"middle\""),
    text(
      0,
      0,
      "text",
      y.label,
      `text-anchor="middle" transform="translate(14 ${margin.top + inner.height / 2}) rotate(-90)"`
    ),
    ...series.map((line) => drawLine(line, px, py)),
    ...drawNames(series, px, py)
  ].join("\n")
}

const drawLine = (
  { dashed, points, stopped, tone }: Series,
  px: (value: number) => number,
  py: (value: number) => number
): string => {
  const path = points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${px(x)} ${py(y)}`).join(" ")
  const last = points.at(-1)
  const cross = stopped !== true || last === undefined ? "" : (() => {
    const [x, y] = [px(last[0]), py(last[1])]
    return `\n<path class="line ${tone}" d="M${x - 5} ${y - 5} L${x + 5} ${y + 5} M${x - 5} ${y + 5} L${x + 5} ${
      y - 5
    }"/>`
  })()
  const dots = points.length > 8 ?
    [] :
    points.map(([x, y]) => `<circle class="dot ${tone}" cx="${px(x)}" cy="${py(y)}" r="3.5"/>`)
  return [`<path class="line ${tone}${dashed === true ? " dashed" : ""}" d="${path}"/>`, ...dots].join("\n") + cross
}

/** The names stand right of the ends of their lines, moved apart where they would cover each other. */
const drawNames = (
  series: ReadonlyArray<Series>,
  px: (value: number) => number,
  py: (value: number) => number
): ReadonlyArray<string> => {
  const named = series.filter(({ points }) => points.length > 0).map(({ name, points, tone }) => {
    const [x, y] = points.at(-1)!
    return { name, tone, x: px(x) + 10, y: py(y) + 4 }
  }).toSorted((a, b) => a.y - b.y)
  for (let index = 1; index < named.length; index++) {
    named[index]!.y = Math.max(named[index]!.y, named[index - 1]!.y + 15)
  }
  return named.map(({ name, tone, x, y }) => text(x, y, `name halo ${tone}`, name, ""))
}

interface Scale {
  readonly place: (value: number) => number
  readonly ticks: ReadonlyArray<number>
}

const scaleOf = ({ scale, ticks }: Axis, values: ReadonlyArray<number>, size: number): Scale => {
  const all = [...values, ...(ticks ?? [])]
  const least = Math.min(...all)
  const most = Math.max(...all)
  if (scale === "linear") {
    return { place: (value) => (value - least) / (most - least || 1) * size, ticks: ticks ?? [least, most] }
  }
  const from = Math.floor(Math.log10(least) + 1e-9)
  const to = Math.max(from + 1, Math.ceil(Math.log10(most) - 1e-9))
  return {
    place: (value) => (Math.log10(value) - from) / (to - from) * size,
    ticks: Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index))
  }
}

const short = (value: number): string =>
  value >= 1 ? value.toLocaleString("en-US") : String(Number(value.toPrecision(1)))

const round = (value: number): number => Math.round(value * 10) / 10

const text = (x: number, y: number, className: string, content: string, more: string): string =>
  `<text class="${className}" x="${round(x)}" y="${round(y)}"${more === "" ? "" : ` ${more}`}>${escape(content)}</text>`

const escape = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
