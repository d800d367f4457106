/** Names of sinks, as configurations give them. */

/** The values of TRL's `report_to` that have a counterpart here. */
export const reportTargets = ['none', 'all', 'tensorboard', 'wandb', 'mlflow', 'trackio'] as const;
export type ReportTarget = (typeof reportTargets)[number];
