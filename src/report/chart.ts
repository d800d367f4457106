/**
 * Charts as inline SVG, drawn by Observable Plot on a DOM without a browser. Every chart is drawn once, at the width of a
 * phone's column: on wider screens two stand side by side, so labels keep their size. Colors are CSS variables of the
 * page, so light and dark need no second drawing.
 */
import { type PlotOptions, plot } from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { isPolicy } from './format.ts';
import { type Html, html, trusted } from './html.ts';

/** Width of a chart in its own units; a page shows it at about one CSS pixel per unit. */
export const CHART_WIDTH = 350;

/** The part of the DOM used here: the types of Plot and linkedom lean on a browser's, which this project does not load. */
interface SvgElement {
  readonly outerHTML: string;
  readonly attributes: Iterable<{ readonly name: string; value: string }>;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  remove(): void;
  querySelectorAll(selector: string): Iterable<SvgElement>;
}

/**
 * Draws a chart of `CHART_WIDTH`.
 *
 * @param label what the chart shows, for those who cannot see it
 */
export function drawChart(label: string, options: PlotOptions): Html {
  const { document } = parseHTML('<html></html>');
  const svg: SvgElement = plot({
    width: CHART_WIDTH,
    style: { fontSize: '12px' },
    ...options,
    document,
  }) as unknown as SvgElement;
  // Plot's own style sheet repeats in every chart what the page says once.
  for (const style of svg.querySelectorAll('style')) style.remove();
  for (const element of svg.querySelectorAll('*')) {
    for (const attribute of element.attributes) attribute.value = roundNumbers(attribute);
    // The label below says it all; labels within would be read as separate pictures.
    element.removeAttribute('aria-label');
  }
  svg.setAttribute('class', 'chart');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  return trusted(svg.outerHTML);
}

const geometry = /^(d|x|y|x1|x2|y1|y2|cx|cy|r|width|height|transform)$/;

/** Two decimals are a hundredth of a pixel: enough, and the same text on every machine. */
function roundNumbers({ name, value }: { readonly name: string; readonly value: string }): string {
  if (!geometry.test(name)) return value;
  return value.replace(/-?\d+\.\d{3,}(?:e-?\d+)?/g, (number) =>
    String(Math.round(Number(number) * 100) / 100),
  );
}

/** Color and mark of a policy. Marks differ in shape as well, for those who do not tell the colors apart. */
export interface Look {
  /** A CSS color that follows the theme. */
  readonly color: string;
  readonly symbol: 'circle' | 'square' | 'triangle' | 'diamond' | 'star';
}

const looks = {
  sft: { color: 'var(--sft)', symbol: 'circle' },
  dpo: { color: 'var(--dpo)', symbol: 'square' },
  ppo: { color: 'var(--ppo)', symbol: 'triangle' },
  bestOfN: { color: 'var(--best-of-n)', symbol: 'diamond' },
} as const satisfies Readonly<Record<string, Look>>;

/** What does not belong to a known policy takes the color of the text. */
export const lookOf = (name: string): Look =>
  isPolicy(name) ? looks[name] : { color: 'currentColor', symbol: 'star' };

const glyphs = { circle: '●', square: '■', triangle: '▲', diamond: '◆', star: '★' } as const;

/** Mark of a policy within text, in its color. */
export function keyOf(name: string): Html {
  const { color, symbol } = lookOf(name);
  return html`<span class="key" style="color:${color}" aria-hidden="true">${glyphs[symbol]}</span>`;
}
