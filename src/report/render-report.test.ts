import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { exampleReport } from '../../test/support/quickstart-report.ts';
import type { QuickstartReport } from './quickstart-report.ts';
import { renderReport } from './render-report.ts';

interface Element {
  readonly tagName: string;
  readonly textContent: string;
  readonly attributes: Iterable<{ readonly name: string; readonly value: string }>;
  getAttribute(name: string): string | null;
}

const parse = (page: string): ((selector: string) => Element[]) => {
  const { document } = parseHTML(page);
  return (selector) => [...document.querySelectorAll(selector)];
};

const page = renderReport(exampleReport);
const find = parse(page);

describe('renderReport', () => {
  it('has every part under its heading, in order', () => {
    expect(find('h1').map(({ textContent }) => textContent)).toEqual([exampleReport.title]);
    expect(find('h2').map(({ textContent }) => textContent)).toEqual([
      ...['Results', 'Reward against KL', 'Attributes', 'Samples'],
      ...['Reward model', 'Training', 'Time and memory', 'Run it again'],
    ]);
    const levels = find('h1, h2, h3, h4').map(({ tagName }) => Number(tagName.slice(1)));
    for (const [index, level] of levels.entries()) expect(level - (levels[index - 1] ?? 0)).toBeLessThan(2);
  });

  it('says what happened first, then the verdicts', () => {
    expect(find('.lead p')).toHaveLength(3);
    expect(find('.verdicts li').map(({ textContent }) => textContent)).toEqual(exampleReport.verdicts);
    expect(page.indexOf('class="lead"')).toBeLessThan(page.indexOf('<h2'));
  });

  it('shows the figures with their intervals', () => {
    const row = find('tbody tr').find(({ textContent }) => textContent.startsWith('Gold reward'));
    expect(row!.textContent).toBe(
      'Gold reward0.31 0.28 to 0.340.51 0.48 to 0.550.55 0.52 to 0.580.50 0.47 to 0.53',
    );
    expect(find('.sample')).toHaveLength(exampleReport.samples.length);
    expect(find('.stages tbody tr')).toHaveLength(exampleReport.stages.length);
    expect(find('pre')[0]!.textContent).toBe(exampleReport.command);
  });

  it('names every chart, and has a table for each kind', () => {
    const charts = find('svg');
    expect(charts).toHaveLength(8);
    for (const chart of charts) {
      expect(chart.getAttribute('role')).toBe('img');
      expect(chart.getAttribute('aria-label')!.length).toBeGreaterThan(40);
      expect(chart.getAttribute('viewBox')).toMatch(/^0 0 350 \d+$/);
    }
    expect(find('details table').length).toBeGreaterThanOrEqual(3);
  });

  it('asks for nothing from outside and runs nothing', () => {
    expect(find('script, link, img, iframe, object, embed, image, use, base')).toEqual([]);
    expect(page).not.toMatch(/url\(|@import|\b(src|href|srcset|on[a-z]+)=/);
    expect(page).toContain("default-src 'none'");
  });

  it('follows the theme: every color is a variable or that of the text', () => {
    const colors = find('svg *').flatMap((element) =>
      ['fill', 'stroke'].map((name) => element.getAttribute(name)).filter((color) => color !== null),
    );
    expect(colors.length).toBeGreaterThan(50);
    for (const color of colors) expect(color).toMatch(/^(var\(--[a-z-]+\)|currentColor|none)$/);
    for (const [, name] of page.matchAll(/var\(--([a-z-]+)\)/g)) expect(page).toContain(`--${name}:`);
  });

  it('gives equal text for equal input', () => {
    expect(renderReport(structuredClone(exampleReport))).toBe(page);
  });

  it('folds away all samples but the first', () => {
    const samples = Array.from({ length: 9 }, () => exampleReport.samples[0]!);
    const folded = parse(renderReport({ ...exampleReport, samples }));
    expect(folded('.sample')).toHaveLength(9);
    expect(folded('details .sample')).toHaveLength(3);
  });
});

describe('hostile text', () => {
  const hostile = `</title></style></svg></script><script>alert(1)</script>"'><img src=x onerror=alert(1)>&lt;b&gt;`;
  /** Keys that are data: names of attributes, and of policies in samples. */
  const isName = (path: string): boolean => /attributes$|completions$/.test(path);
  const poison = (value: unknown, path = ''): unknown => {
    if (typeof value === 'string') return value + hostile;
    if (Array.isArray(value)) return value.map((item) => poison(item, path));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        isName(path) ? key + hostile : key,
        poison(item, `${path}.${key}`),
      ]),
    );
  };
  const attacked = renderReport(poison(exampleReport) as QuickstartReport);

  it('is shown as text wherever it comes from', () => {
    const findIn = parse(attacked);
    expect(findIn('script, img, b')).toEqual([]);
    expect(attacked).not.toMatch(/<script|<img|<b>|"'>/);
    expect(findIn('h1')[0]!.textContent).toBe(exampleReport.title + hostile);
    expect(findIn('pre')[0]!.textContent).toBe(exampleReport.command + hostile);
    expect(findIn('.completion')[0]!.textContent).toContain(hostile);
    expect(findIn('svg text').some(({ textContent }) => textContent.includes(hostile))).toBe(true);
  });

  it('adds no element and no kind of attribute', () => {
    const all = parse(attacked)('*');
    const names = (elements: readonly Element[]): string[] => elements.map(({ tagName }) => tagName);
    expect(names(all)).toEqual(names(find('*')));
    const kinds = (elements: readonly Element[]): Set<string> =>
      new Set(elements.flatMap(({ attributes }) => [...attributes].map(({ name }) => name)));
    expect(kinds(all)).toEqual(kinds(find('*')));
  });
});

describe('a report with parts missing', () => {
  it('leaves out the column of a policy that was not run, and says so', () => {
    const { sft, ppo } = exampleReport.policies;
    const partial = parse(renderReport({ ...exampleReport, policies: { sft: sft!, ppo: ppo! } }));
    expect(partial('.figures')[0]!.textContent).not.toContain('DPO');
    expect(partial('.absent').map(({ textContent }) => textContent)).toContain(
      'DPO and Best-of-n were not part of this run.',
    );
    // Two policies, nine attributes.
    expect(partial('svg rect')).toHaveLength(18);
  });

  it('leaves out the row of a figure that no policy has', () => {
    const { winRate: _, ...sft } = exampleReport.policies.sft!;
    const partial = renderReport({ ...exampleReport, policies: { sft } });
    expect(partial).not.toContain('Preferred to SFT');
    expect(partial).toContain('Learned reward');
  });

  it('says what was not recorded when everything optional is empty', () => {
    const empty = renderReport({
      ...exampleReport,
      ...{ policies: {}, curves: [], training: [], samples: [], stages: [], verdicts: [] },
    });
    expect(parse(empty)('.absent').map(({ textContent }) => textContent)).toEqual([
      'SFT, DPO, PPO and Best-of-n were not part of this run.',
      'This run recorded no reward along the way.',
      'This run measured no attributes.',
      'This run kept no samples.',
      'This run recorded no metrics of training.',
      'This run recorded no times.',
    ]);
    expect(empty).not.toContain('<svg');
    expect(empty).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('draws curves of no points, one point and of equal points without failing', () => {
    const point = { step: 1, kl: 0, learnedReward: 0, gold: 0 };
    const odd = renderReport({
      ...exampleReport,
      curves: [
        { name: 'ppo', points: [] },
        { name: 'bestOfN', points: [point] },
        { name: 'other', points: [point, point] },
      ],
      training: [
        { name: 'sft', metric: 'loss', unit: '', points: [] },
        { name: 'dpo', metric: 'loss', unit: '', points: [{ step: 1, value: 0.5 }] },
      ],
    });
    expect(odd).not.toMatch(/NaN|undefined|Infinity/);
    expect(parse(odd)('.legend')[0]!.textContent.split(/\s+/).filter(Boolean)).toEqual([
      ...['◆', 'Best-of-n', '★', 'other'],
    ]);
    expect(parse(odd)('figcaption').map(({ textContent }) => textContent)).toContain('DPO: loss');
  });
});
