export * from './heads.ts';
export * from './parameters.ts';
