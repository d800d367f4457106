/** Charts by stored SVG: `npx vitest run src/report -u` stores them again; look at the difference before you commit it. */
import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { exampleReport } from '../../test/support/quickstart-report.ts';
import { attributeBars } from './attribute-bars.ts';
import type { Html } from './html.ts';
import type { QuickstartReport } from './quickstart-report.ts';
import { rewardCurves } from './reward-curves.ts';
import { thinPoints, trainingCurves } from './training-curves.ts';

const chartsOf = ({ markup }: Html): string[] => markup.match(/<svg.*?<\/svg>/gs) ?? [];
const stored = (name: string): string => `../../test/golden/data/report/${name}.svg`;

describe('stored charts', () => {
  it.each([
    ['reward-gold', rewardCurves, 0],
    ['reward-learned', rewardCurves, 1],
    ['attributes-left', attributeBars, 0],
    ['attributes-right', attributeBars, 1],
    ['training-sft', trainingCurves, 0],
  ] as const)('%s', async (name, draw, index) => {
    const chart = chartsOf(draw(exampleReport))[index]!;
    // An element a line, so that a difference shows which one moved.
    await expect(`${chart.replaceAll('><', '>\n<')}\n`).toMatchFileSnapshot(stored(name));
  });
});

/** The drawing as elements, to compare what is drawn with what was measured. */
const elementsOf = (markup: string, selector: string): ReadonlyMap<string, string>[] => {
  const { document } = parseHTML(`<html><body>${markup}</body></html>`);
  return [...document.querySelectorAll(selector)].map(
    (element: { readonly attributes: Iterable<{ readonly name: string; readonly value: string }> }) =>
      new Map([...element.attributes].map(({ name, value }) => [name, value])),
  );
};

describe('attribute bars', () => {
  it('are as long as the means, and their intervals end where they should', () => {
    const honesty = { honesty: { mean: 0.5, low: 0.25, high: 0.75 } };
    const policies = { sft: { ...exampleReport.policies.sft!, attributes: honesty } };
    const [chart] = chartsOf(attributeBars({ ...exampleReport, policies }));
    // The axis of 0 to 1 runs from 100 to 340: 0.5 is 120 long, 0.25 at 160, 0.75 at 280.
    const [bar] = elementsOf(chart!, 'rect');
    expect([bar!.get('x'), bar!.get('width'), bar!.get('fill')]).toEqual(['100', '120', 'var(--sft)']);
    const lines = elementsOf(chart!, 'line').filter((line) => line.get('x1') === '160');
    expect(lines.map((line) => line.get('x2'))).toEqual(['280', '280']);
  });

  it('list what is not within 0 and 1 instead of drawing it', () => {
    const page = attributeBars(exampleReport).markup;
    expect(chartsOf(attributeBars(exampleReport)).join('')).not.toContain('words');
    expect(page).toContain('<th scope="row">words</th>');
  });
});

describe('reward curves', () => {
  const curve = (kl: readonly number[]): QuickstartReport['curves'] => [
    { name: 'ppo', points: kl.map((x, step) => ({ step, kl: x, learnedReward: step, gold: 1 })) },
  ];
  const pathOf = (kl: readonly number[]): number[] => {
    const chart = chartsOf(rewardCurves({ ...exampleReport, curves: curve(kl) }))[1]!;
    const line = elementsOf(chart, 'path').find((path) => /^M[^Z]*L[^Z]*L[^Z]*$/.test(path.get('d') ?? ''))!;
    return [...line.get('d')!.matchAll(/[ML](-?[\d.]+),/g)].map((match) => Number(match[1]));
  };

  it('follow the run when KL falls again', () => {
    const [first, second, third] = pathOf([0, 4, 2]);
    expect(third).toBeCloseTo((first! + second!) / 2, 1);
  });

  it('mark policies by shape as well as by color', () => {
    const marks = elementsOf(chartsOf(rewardCurves(exampleReport))[0]!, 'path').filter((path) =>
      path.get('d')?.endsWith('Z'),
    );
    expect(new Set(marks.map((mark) => mark.get('d'))).size).toBe(2);
  });
});

describe('thinPoints', () => {
  const points = [2, 4, 9].map((value, index) => ({ step: index + 1, value }));

  it('takes means of equally many points', () => {
    // Two points from three: the first two have the mean (2 + 4) / 2, the last stands alone.
    expect(thinPoints(points, 2)).toEqual([
      { step: 2, value: 3 },
      { step: 3, value: 9 },
    ]);
  });

  it('keeps few points as they are and thins thousands to the limit', () => {
    expect(thinPoints(points, 3)).toEqual(points);
    const many = Array.from({ length: 9999 }, (_, step) => ({ step, value: 1 }));
    const thin = thinPoints(many, 120);
    expect(thin.length).toBeLessThanOrEqual(120);
    expect(thin.at(-1)).toEqual({ step: 9998, value: 1 });
  });
});
