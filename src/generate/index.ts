export * from './best-of.ts';
export * from './generate.ts';
export * from './sample.ts';
export * from './session.ts';
export * from './stop-text.ts';
