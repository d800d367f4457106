import { expect, it } from 'vitest';
import { runHeed } from '../../../test/support/run-heed.ts';

it('heed methods lists every method, shows one, and prints its schema', async () => {
  const all = await runHeed(['methods']);
  expect([all.code, all.stdout]).toEqual([
    0,
    expect.stringMatching(/^dpo +preference +policy, reference +direct/m),
  ]);

  const one = await runHeed(['methods', 'dpo']);
  expect(one.stdout).toMatch(/paper +Rafailov et al\. 2023/);
  expect(one.stdout).toMatch(/rewards\/margins +mean difference/);

  const schema = JSON.parse((await runHeed(['methods', 'dpo', '--schema'])).stdout) as {
    title: string;
    properties: Record<string, { default?: unknown; description?: string }>;
    additionalProperties: boolean;
  };
  expect(schema.title).toBe('heed dpo');
  expect(schema.properties.beta).toMatchObject({
    default: 0.1,
    description: expect.stringContaining('temperature'),
  });
  expect(schema.additionalProperties).toBe(false);
});

it('heed papers tells what is built and what is planned', async () => {
  const built = await runHeed(['papers', '--status', 'built', '--json']);
  const records = built.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; status: string });
  expect(records.map(({ id }) => id)).toContain('dpo');
  expect(new Set(records.map(({ status }) => status))).toEqual(new Set(['built']));
  const one = await runHeed(['papers', 'pf-ppo']);
  expect(one.stdout).toMatch(/status +planned/);
});

it('an unknown method or paper is bad usage, with the nearest one named', async () => {
  for (const [list, id, near] of [
    ['methods', 'dop', 'dpo'],
    ['papers', 'pf-pop', 'pf-ppo'],
  ] as const) {
    const { code, stderr } = await runHeed([list, id]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`Did you mean ${near}?`)]);
  }
  const { code, stderr } = await runHeed(['methods', '--schema']);
  expect([code, stderr]).toEqual([2, expect.stringContaining('heed methods <method> --schema')]);
});
