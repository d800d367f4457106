import picocolors from 'picocolors';
import { describe, expect, it } from 'vitest';
import { renderRollout, renderRollouts } from './rollouts-view.ts';

const colors = picocolors.createColors(true);
const rollout = {
  ...{ step: 1, sample: 2, group: 0, prompt: 'Once upon a time there was', completion: 'a fox in the woods' },
  ...{ score: 27.25, reward: 26.5, advantage: -0.298, kl: 4.312e-6, tokens: 3, finish: 'length' as const },
  ...{
    flags: ['truncated' as const],
    weightVersion: 0,
    parts: {},
    rewards: {},
    promptIds: [1],
    ids: [1, 2, 3],
  },
  logProbs: [-1, -2, -3],
};
type Shown = Parameters<typeof renderRollout>[0];
const show = (advantages: readonly number[], width = 80): string =>
  renderRollout({ ...rollout, advantages } as unknown as Shown, {
    ...{ colors, width, tokenText: (id) => ` word${id}`, table: false },
  });

describe('the list of rollouts', () => {
  const list = (width: number): string[] =>
    renderRollouts([rollout, { ...rollout, sample: 13 }] as unknown as Shown[], width).split('\n');
  it('has all columns on a wide terminal', () => {
    expect(list(120)[0]!.trim().split(/\s+/)).toEqual(
      'id score reward advantage kl tokens flags prompt completion'.split(' '),
    );
    expect(list(120)[1]).toContain('a fox in the woods');
  });
  it('leaves columns out rather than break lines on a narrow one', () => {
    for (const width of [60, 70, 80, 100])
      for (const line of list(width)) expect(line.length).toBeLessThanOrEqual(width);
    expect(list(70)[0]).not.toContain('kl');
    expect(list(70)[0]).toContain('advantage');
  });
});

describe('tokens of a rollout', () => {
  it('are green where pushed up and red where down, bold the furthest, and lines fit', () => {
    const text = show([1, -1, 0.5]);
    expect(text).toContain(colors.bold(colors.green(' word1')));
    expect(text).toContain(colors.bold(colors.red(' word2')));
    expect(text).toContain(colors.green(' word3'));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colors are control characters
    const plain = show([1, -1, 0.5], 30).replace(/\u001b\[\d+m/g, '');
    expect(plain).toContain(' word1│ word2│ word3');
  });
  it('without advantages above or below 0 have no scale of zeros', () => {
    expect(show([0, 0, 0])).toContain('advantage 0 at every token');
    expect(show([0, 0, 0])).not.toContain('-0');
  });
});
