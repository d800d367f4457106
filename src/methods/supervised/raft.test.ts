import { afterAll, describe, expect, it } from 'vitest';
import { lastScores, runTiny, tinySettings } from '../../../test/support/tiny-online.ts';
import { hostTensor } from '../../core/host-tensor.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { bestOfGroup } from '../../parts/advantage/best-of-group.ts';
import { config, raft } from './raft.ts';

it('keeps the best of each group, of equal ones the earlier', () => {
  // Two groups of three; the second token of row 1 does not count.
  const rewards = hostTensor(Float64Array.of(0, 0, 2, 9, 1, 0.5, 3, 0, 1, 2, 0, 0), [6, 2]);
  const mask = hostTensor(Uint8Array.of(1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1), [6, 2]);
  const given = { rewards, values: rewards, mask, groups: [0, 0, 0, 7, 7, 7] };
  const one = bestOfGroup(1)(given);
  expect([...one.advantages.data]).toEqual([0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]);
  expect(one.metrics).toEqual({ 'filter/kept': 1 / 3, 'filter/kept_reward': 2.5, reward: 9.5 / 6 });
  expect([...bestOfGroup(2)(given).advantages.data]).toEqual([0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0]);
});

it('refuses to keep more than are sampled', () => {
  const settings = config.parse({ ...tinySettings, completionsPerPrompt: 2, keep: 3 });
  expect(() => raft.build(settings)).toThrow(
    /--keep: expected at most completionsPerPrompt \(2\), received 3/,
  );
});

describe('raft', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  it('climbs the score by imitating the best, which imitating everything does not', async () => {
    const run = async (keep: number) => {
      const settings = config.parse({ ...tinySettings, completionsPerPrompt: 8, updateEpochs: 4, keep });
      const { records } = await runTiny({ engine, config: settings, step: raft.build(settings) });
      return { records, score: lastScores(records) };
    };
    const [best, all] = [await run(1), await run(8)];
    expect(best.score).toBeGreaterThan(0.5);
    expect(all.score).toBeLessThan(0.2);
    for (const record of best.records) {
      expect(record['filter/kept']).toBeCloseTo(1 / 8, 12);
      expect(record['filter/kept_reward']!).toBeGreaterThanOrEqual(record.reward!);
    }
  });
});
