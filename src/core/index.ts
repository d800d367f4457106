export * from './errors.ts';
export * from './host-tensor.ts';
export * from './rng.ts';
export * from './shapes.ts';
