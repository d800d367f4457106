export * from './config.ts';
export type { ConfigFile } from './config-file.ts';
export * from './errors.ts';
export * from './format-config.ts';
export * from './host-tensor.ts';
export * from './resolve-config.ts';
export * from './rng.ts';
export * from './shapes.ts';
export * from './suggest.ts';
