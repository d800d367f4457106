/** Curves as an SVG file of their own, for pages that are not reports. */
import { axisX, axisY, dot, gridY, lineY, plot } from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { escapeHtml } from './html.ts';

export interface LineChart {
  /** Said to those who cannot see it, and shown as its title. */
  readonly title: string;
  readonly axis: string;
  readonly curves: readonly {
    /** Curves of one panel share a vertical axis; panels stand side by side. */
    readonly panel: string;
    readonly arm: string;
    /** Runs of the same arm look the same. */
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
}

const [panelWidth, panelHeight, keyHeight] = [350, 270, 44];

/** Told apart by most eyes, on white. */
const colors = ['#1b6e9c', '#b3541e', '#1b6e53', '#7a3e9d', '#8a6d00', '#444444'];

interface SvgElement {
  readonly innerHTML: string;
  querySelectorAll(selector: string): Iterable<{ remove(): void }>;
}

/** @returns the text of an SVG file */
export function drawLineChart({ title, axis, curves }: LineChart): string {
  const panels = [...new Set(curves.map(({ panel }) => panel))];
  const arms = [...new Set(curves.map(({ arm }) => arm))];
  const colorOf = (arm: string): string => colors[arms.indexOf(arm) % colors.length]!;
  const width = panels.length * panelWidth;
  const height = keyHeight + panelHeight;
  const key = arms.map(
    (arm, index) =>
      `<g transform="translate(${12 + (index * (width - 24)) / arms.length},32)"><line x2="24" stroke="${colorOf(arm)}" stroke-width="2"/><text x="30" dy="0.32em">${escapeHtml(arm)}</text></g>`,
  );
  const drawn = panels.map((panel, index) => {
    const own = curves.filter((curve) => curve.panel === panel && curve.points.length > 0);
    const svg = plot({
      document: parseHTML('<html></html>').document,
      width: panelWidth,
      height: panelHeight,
      marginLeft: 44,
      marginTop: 28,
      marginBottom: 44,
      x: { nice: true },
      y: { nice: true },
      marks: [
        gridY(),
        axisX({ label: axis, labelAnchor: 'center', labelArrow: 'none', ticks: 6 }),
        axisY({ label: panel, labelArrow: 'none', ticks: 5 }),
        ...own.flatMap(({ arm, points }) => [
          lineY(points, { x: 'x', y: 'y', stroke: colorOf(arm), strokeWidth: 1.5 }),
          dot(points, { x: 'x', y: 'y', r: 2, fill: colorOf(arm) }),
        ]),
      ],
    }) as unknown as SvgElement;
    for (const style of svg.querySelectorAll('style')) style.remove();
    return `<g transform="translate(${index * panelWidth},${keyHeight})">${svg.innerHTML}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="11" fill="#222" role="img" aria-label="${escapeHtml(title)}"><rect width="${width}" height="${height}" fill="#fff"/><text x="12" y="16" font-weight="bold">${escapeHtml(title)}</text>${key.join('')}${drawn.join('')}</svg>\n`;
}
