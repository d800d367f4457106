export * from './annotators.ts';
export * from './attributes.ts';
export * from './gold.ts';
export type { Danger, Entity, Knowledge } from './knowledge.ts';
export * from './request.ts';
export * from './respond.ts';
export * from './world.ts';
