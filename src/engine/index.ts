/** Native engines are not exported by value: `createEngine` loads the one that is used. */
export * from './create-engine.ts';
export * from './engine.ts';
export { createInterpreter } from './interpreter.ts';
export * from './program-cache.ts';
