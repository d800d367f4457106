export * from './by-group.ts';
export * from './calibration.ts';
export * from './correlation.ts';
export * from './estimate.ts';
export * from './pair-report.ts';
