export type { BeamOptions } from './beam.ts';
export * from './best-of.ts';
export * from './constraint/index.ts';
export * from './generate.ts';
export * from './sample.ts';
export * from './session.ts';
export { lookUp, type Speculated } from './speculative.ts';
export * from './stop-text.ts';
