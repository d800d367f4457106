export * from './generate.ts';
export * from './sample.ts';
export * from './session.ts';
