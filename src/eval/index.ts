export * from './by-group.ts';
export * from './calibration.ts';
export * from './estimate.ts';
