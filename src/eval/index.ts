export * from './calibration.ts';
export * from './estimate.ts';
