import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../core/errors.ts';
import { Interrupted, openStages, type StagesOptions } from './stages.ts';

function setUp(overrides: Partial<StagesOptions> = {}): StagesOptions {
  let now = 0;
  return {
    folder: join(mkdtempSync(join(tmpdir(), 'heed-stages-')), 'stages'),
    fingerprint: 'seed 0',
    clock: () => (now += 1500),
    memory: () => 7,
    every: () => () => {},
    interrupted: () => false,
    ...overrides,
  };
}

describe('stages', () => {
  it('runs a stage once: later runs read its result and what it cost', async () => {
    const options = setUp();
    const first = openStages(options);
    expect(await first.run('make', async () => ({ rows: 3 }))).toEqual({ rows: 3 });
    // Two looks at the clock, 1500 ms apart.
    expect(first.costs).toEqual([{ name: 'make', seconds: 1.5, peakMemoryBytes: 7 }]);
    const second = openStages(options);
    const again = await second.run('make', async () => {
      throw new Error('ran twice');
    });
    expect(again).toEqual({ rows: 3 });
    expect(second.costs).toEqual(first.costs);
  });

  it('keeps the most memory seen while a stage ran', async () => {
    const readings = [5, 9, 6];
    let tick = (): void => {};
    const stages = openStages(
      setUp({
        memory: () => readings.shift()!,
        every: (_ms, call) => {
          tick = call;
          return () => {};
        },
      }),
    );
    await stages.run('make', async () => tick());
    expect(stages.costs[0]!.peakMemoryBytes).toBe(9);
  });

  it('leaves no record of a stage that failed or was stopped, and stops before the next', async () => {
    const options = setUp();
    const failing = openStages(options).run('make', async () => {
      throw new Error('disk full');
    });
    await expect(failing).rejects.toThrow('disk full');
    expect(readdirSync(options.folder)).toEqual([]);
    const stopped = openStages({ ...options, interrupted: () => true });
    await expect(stopped.run('make', async () => 1)).rejects.toBeInstanceOf(Interrupted);
  });

  it('refuses a record made with other settings, one that is broken, and a missing one that may not run', async () => {
    const options = setUp();
    await openStages(options).run('make', async () => 1);
    const other = openStages({ ...options, fingerprint: 'seed 1' });
    await expect(other.run('make', async () => 1)).rejects.toThrow(
      /stage make\): expected the settings it began with, seed 0, received seed 1\. Use the same settings/,
    );
    const limited = openStages({ ...options, only: ['train'] });
    expect(await limited.run('make', async () => 2)).toBe(1);
    await expect(limited.run('label', async () => 1)).rejects.toThrow(/--stages: expected stage label/);
    writeFileSync(join(options.folder, 'make.json'), '{"finger');
    await expect(openStages(options).run('make', async () => 1)).rejects.toBeInstanceOf(CheckpointError);
  });
});
