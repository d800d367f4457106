export * from './heads.ts';
export * from './parameters.ts';
export * from './patch-embedding.ts';
