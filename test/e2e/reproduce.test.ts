import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runHeed } from '../support/run-heed.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-reproduce-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const reproduce = (...flags: string[]) =>
  runHeed(['reproduce', ...flags, '--output', folder, '--threads', '1']);

it('lists experiments, and names the nearest of one that is none', async () => {
  expect((await runHeed(['reproduce'])).stdout).toMatch(/^over-optimization +\d+ +As PPO without/m);
  const { code, stderr } = await runHeed(['reproduce', 'over-optimisation']);
  expect([code, stderr]).toEqual([2, expect.stringContaining('Did you mean over-optimization?')]);
  const single = await runHeed(['reproduce', 'equal-kl', '--seeds', '0']);
  expect(single.code).toBe(2);
});

it('measures every seed, decides, writes a report, and a second call measures nothing again', async () => {
  const flags = ['over-optimization', '--size', 'tiny', '--seeds', '0,1', '--json'];
  const first = await reproduce(...flags);
  expect([first.code, first.stderr.match(/"error".*/)?.[0]]).toEqual([0, undefined]);
  const path = join(folder, 'over-optimization');
  const report = JSON.parse(readFileSync(join(path, 'report.json'), 'utf8')) as {
    verdict: string;
    seeds: number[];
    tests: { perSeed: number[]; interval: { mean: number } }[];
    runs: { figures: Record<string, number> }[];
  };
  expect(report.seeds).toEqual([0, 1]);
  expect(['shown', 'not shown', 'opposite']).toContain(report.verdict);
  for (const { perSeed, interval } of report.tests) {
    expect(perSeed).toHaveLength(2);
    expect(interval.mean).toBeCloseTo((perSeed[0]! + perSeed[1]!) / 2, 12);
  }
  const [{ figures }] = report.runs as [{ figures: Record<string, number> }];
  expect(figures['ppo.goldGain']).toBeCloseTo(figures['ppo.goldPeak']! - figures['ppo.goldStart']!, 12);
  expect(readFileSync(join(path, 'report.md'), 'utf8')).toContain(`: ${report.verdict}\n`);
  expect(readFileSync(join(path, 'curves.svg'), 'utf8')).toMatch(
    /^<svg [^>]*aria-label="Over-optimization.*<\/svg>\n$/s,
  );

  const again = await reproduce(...flags);
  expect(again.code).toBe(0);
  expect(again.stderr).not.toMatch(/"stage":"sft"/);
  expect(JSON.parse(readFileSync(join(path, 'report.json'), 'utf8'))).toEqual(report);
  expect(existsSync(join(folder, 'seed-1', 'stages', 'over-optimization.json'))).toBe(true);
}, 240_000);
