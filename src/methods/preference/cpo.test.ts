import { afterAll, describe, expect, it } from 'vitest';
import { tinyPairs, trainPairs } from '../../../test/support/tiny-pairs.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { config, cpo } from './cpo.ts';

const build = (more: object) => cpo.build(config.parse({ model: '', data: '', ...more }));

it('refuses AlphaPO on sums over tokens', () => {
  expect(() => build({ alpha: 0.25 })).toThrow(
    /--alpha: expected 0.*0\.25 with --loss sigmoid.*--loss simpo/,
  );
});

describe('cpo', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  it('keeps chosen completions likely by its likelihood term', async () => {
    const heldOut = (cpoAlpha: number) =>
      trainPairs(engine, build({ beta: 0.5, cpoAlpha }), tinyPairs(128, 7));
    const [whole, contrast] = [await heldOut(1), await heldOut(0)];
    for (const record of [whole, contrast]) expect(record['eval_rewards/accuracies']).toBeGreaterThan(0.9);
    expect(whole['eval_logps/chosen']! - contrast['eval_logps/chosen']!).toBeGreaterThan(0.5);
  });
});
