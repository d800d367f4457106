export * from './app.ts';
export * from './errors.ts';
export * from './listen.ts';
export * from './served-model.ts';
export * from './text-stream.ts';
