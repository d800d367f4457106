export * from './errors.ts';
export * from './host-tensor.ts';
export * from './shapes.ts';
