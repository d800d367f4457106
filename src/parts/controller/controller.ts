/** What controllers have in common: they watch a number and emit one. */

/**
 * A coefficient that may follow what is measured. It is a plain number that multiplies something; nothing is differentiated
 * through it. Its state is plain numbers, stored with every checkpoint.
 */
export interface Controller {
  /** As of now. */
  readonly value: number;
  /** Called once per iteration with what was measured in it, and the number of completions. */
  update(measured: number, episodes: number): void;
  state(): Readonly<Record<string, number>>;
  /** Throws `CheckpointError` when the state is that of no such controller. */
  load(state: Readonly<Record<string, number>>): void;
}

/** A controller with the metric of an iteration that it watches. */
export interface Control {
  readonly watches: string;
  readonly controller: Controller;
}

/** Controllers of a run by what they set. A method without one leaves it out. */
export interface Controls {
  /** Weight of the KL term. */
  readonly kl: Control;
  /** Weight of the mean token entropy in the objective. */
  readonly entropy?: Control;
  /** Cost of a completion of full length, in units of score. */
  readonly length?: Control;
  /** Multiplies the learning rate of the policy. */
  readonly learningRate?: Control;
}

/** Values of `Controls`. */
export type ControlValues = { readonly [Name in keyof Controls]: number };

export function controlValues(controls: Controls): ControlValues {
  return Object.fromEntries(
    Object.entries(controls).map(([name, { controller }]: [string, Control]) => [name, controller.value]),
  ) as unknown as ControlValues;
}

/** Each looks at its metric; one that the iteration lacks is no news. */
export function updateControls(
  controls: Controls,
  metrics: Readonly<Record<string, number>>,
  episodes: number,
): void {
  for (const { watches, controller } of Object.values(controls) as Control[]) {
    const measured = metrics[watches];
    if (measured !== undefined) controller.update(measured, episodes);
  }
}

/** States of all, each name with that of its control before it. */
export function controlsState(controls: Controls): Record<string, number> {
  return Object.fromEntries(
    Object.entries(controls).flatMap(([name, { controller }]: [string, Control]) =>
      Object.entries(controller.state()).map(([key, value]) => [`${name}.${key}`, value]),
    ),
  );
}

/** @throws CheckpointError when a controller finds no state of its own */
export function loadControls(controls: Controls, state: Readonly<Record<string, number>>): void {
  for (const [name, { controller }] of Object.entries(controls) as [string, Control][]) {
    const own = Object.entries(state).filter(([key]) => key.startsWith(`${name}.`));
    controller.load(Object.fromEntries(own.map(([key, value]) => [key.slice(name.length + 1), value])));
  }
}
