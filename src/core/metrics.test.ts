import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from './errors.ts';
import { createMetricAverager, metric } from './metrics.ts';

describe('metric', () => {
  it('holds name, meaning, unit and healthy range', () => {
    expect(metric('filter/kept', 'fraction of rollouts with weight > 0')).toEqual({
      name: 'filter/kept',
      description: 'fraction of rollouts with weight > 0',
      unit: '1',
    });
    const healthy = 'falls, then levels off';
    expect(metric('loss', 'mean loss', { unit: 'nats', healthy })).toMatchObject({ unit: 'nats', healthy });
  });

  it.each(['', 'Loss', 'a/b/c', '/a', 'a/', 'a b'])('refuses the name "%s"', (name) => {
    expect(() => metric(name, '')).toThrow(ConfigError);
  });
});

describe('createMetricAverager', () => {
  it('divides sums by sums', () => {
    const averager = createMetricAverager();
    averager.add('loss', 6, 3);
    averager.add('entropy', 2, 2);
    averager.add('loss', 1, 1);
    expect(averager.means()).toEqual({ loss: 1.75, entropy: 1 });
    expect(Object.keys(averager.take())).toEqual(['loss', 'entropy']);
    expect(averager.take()).toEqual({});
  });

  it('leaves out what has no weight, and keeps NaN', () => {
    const averager = createMetricAverager();
    averager.add('never', 0, 0);
    averager.add('bad', Number.NaN, 1);
    averager.add('bad', 1, 1);
    expect(averager.means()).toEqual({ bad: Number.NaN });
  });

  it('does not depend on how values are cut into pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 1, max: 9 })), {
          minLength: 1,
        }),
        fc.integer({ min: 1, max: 5 }),
        (pairs, piece) => {
          const averager = createMetricAverager();
          for (let start = 0; start < pairs.length; start += piece) {
            const part = pairs.slice(start, start + piece);
            averager.add(
              'x',
              part.reduce((sum, [value, weight]) => sum + value * weight, 0),
              part.reduce((sum, [, weight]) => sum + weight, 0),
            );
          }
          const total = pairs.reduce((sum, [, weight]) => sum + weight, 0);
          expect(averager.means().x).toBe(
            pairs.reduce((sum, [value, weight]) => sum + value * weight, 0) / total,
          );
        },
      ),
    );
  });
});
