import { describe, expect, it } from 'vitest';
import { exampleReport } from '../../test/support/quickstart-report.ts';
import { DataError, NumericError } from '../core/errors.ts';
import { checkReport } from './check-report.ts';
import { renderReport } from './render-report.ts';

const { ppo } = exampleReport.policies;

describe('checkReport', () => {
  it('lets the example pass', () => {
    expect(() => checkReport(exampleReport)).not.toThrow();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('names the figure that is %d', (value) => {
    const attributes = { ...ppo!.attributes, honesty: { mean: value, low: 0, high: 1 } };
    const report = { ...exampleReport, policies: { ppo: { ...ppo!, attributes } } };
    expect(() => renderReport(report)).toThrow(NumericError);
    expect(() => renderReport(report)).toThrow(
      `report.policies.ppo.attributes.honesty.mean: expected a finite number, received ${value}. Leave the figure out`,
    );
  });

  it('names a point of a curve by its place', () => {
    const points = [
      { step: 1, value: 2 },
      { step: 2, value: Number.NaN },
    ];
    const training = [{ name: 'sft', metric: 'loss', unit: 'nats', points }];
    expect(() => renderReport({ ...exampleReport, training })).toThrow('report.training[0].points[1].value:');
  });

  it('names an interval whose ends are swapped', () => {
    const rewardModel = { accuracy: { mean: 0.7, low: 0.8, high: 0.6 }, ece: 0 };
    const check = (): void => checkReport({ ...exampleReport, rewardModel });
    expect(check).toThrow(DataError);
    expect(check).toThrow('report.rewardModel.accuracy: expected an interval with low ≤ high');
  });
});
