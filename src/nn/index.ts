export * from './parameters.ts';
export * from './patch-embedding.ts';
