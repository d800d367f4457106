export * from './generate.ts';
export * from './sample.ts';
