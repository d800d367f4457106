import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runHeed } from '../support/run-heed.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-quickstart-'));
const run = (name: string, more: readonly string[] = [], stopAt?: string) => {
  let stopped = false;
  return runHeed(
    ['quickstart', '--size', 'tiny', '--output', join(folder, name), '--json', '--threads', '1', ...more],
    (text, interrupt) => {
      if (stopAt === undefined || stopped || !text.includes(stopAt)) return;
      stopped = true;
      interrupt();
    },
  );
};
const bytes = (...path: string[]): Buffer => readFileSync(join(folder, ...path));

describe('heed quickstart', () => {
  it('runs every stage, and stopped in three of them it ends with the same bytes', async () => {
    const whole = await run('whole');
    expect([whole.code, whole.stderr.match(/"error".*/)?.[0]]).toEqual([0, undefined]);

    // The first words that each stage says: in training, while sampling pairs, in PPO.
    const stops = ['"stage":"sft"', '"stage":"label: tokens"', '"stage":"ppo"'];
    for (const [at, stop] of stops.entries()) {
      const part = await run('parts', at === 0 ? [] : ['--resume'], stop);
      expect([stop, part.code]).toEqual([stop, 130]);
      expect(existsSync(join(folder, 'parts', 'summary.json'))).toBe(false);
    }
    expect((await run('parts', ['--resume'])).code).toBe(0);

    for (const file of ['summary.json', 'data/preferences.jsonl', 'evaluation/ppo.jsonl']) {
      expect(bytes('parts', file).equals(bytes('whole', file)), file).toBe(true);
    }
    for (const name of ['sft', 'reward-model', 'dpo', 'ppo']) {
      const weights = [name, 'model', 'model.safetensors'];
      expect(bytes('parts', ...weights).equals(bytes('whole', ...weights)), name).toBe(true);
    }
    const summary = JSON.parse(bytes('whole', 'summary.json').toString()) as Record<
      string,
      Record<string, { mean: number; low: number; high: number }>
    >;
    for (const policy of ['sft', 'dpo', 'ppo', 'bestOfN']) {
      for (const figure of ['gold.reward', 'gold.cost', 'unsafeRate', 'overRefusal', 'kl', 'length']) {
        const { mean, low, high } = summary[policy]![figure]!;
        expect(low, `${policy} ${figure}`).toBeLessThanOrEqual(mean);
        expect(high, `${policy} ${figure}`).toBeGreaterThanOrEqual(mean);
      }
    }
    expect(summary['rewardModel']!['accuracy']).toBeDefined();
    // Against itself SFT wins half, and is at no distance but for rounding.
    expect(summary['sft']!['winRate']!.mean).toBe(0.5);
    expect(Math.abs(summary['sft']!['kl']!.mean)).toBeLessThan(1e-4);
    expect(summary['ppo']!['kl']!.mean).toBeGreaterThan(1e-3);
  }, 240_000);

  it('refuses a stage whose predecessors have not run, and other settings on --resume', async () => {
    const alone = await run('alone', ['--stages', 'dpo']);
    expect(alone.code).toBe(2);
    expect(alone.stderr).toMatch(/--stages: expected stage world/);
    const other = await run('whole', ['--resume', '--seed', '1']);
    expect(other.code).toBe(2);
    expect(other.stderr).toMatch(/expected the settings it began with/);
    expect((await run('bad', ['--size', 'huge'])).code).toBe(2);
  });
});
