// The JSON of a dashboard whose panels are time series of Prometheus, by the types that Grafana publishes.

import type { GraphFieldConfig } from "@grafana/grafana-foundation-sdk/dist/common";
import type * as grafana from "@grafana/grafana-foundation-sdk/dist/dashboard";
import type { Dataquery } from "@grafana/grafana-foundation-sdk/dist/prometheus";
import type { Options } from "@grafana/grafana-foundation-sdk/dist/timeseries";

/** The values of `T` as JSON has them: enums are their values. */
type Json<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer N extends number}` ? N : never
      : T extends readonly (infer I)[]
        ? Json<I>[]
        : T extends object
          ? { [K in keyof T]: Json<T[K]> }
          : T;

type Defaults = Omit<grafana.FieldConfig, "custom"> & { custom?: GraphFieldConfig };

type Panel = Omit<grafana.Panel, "type" | "targets" | "options" | "fieldConfig"> & {
  type: "timeseries";
  targets: Omit<Dataquery, "_implementsDataqueryVariant">[];
  options: Options;
  fieldConfig: Omit<grafana.FieldConfigSource, "defaults"> & { defaults: Defaults };
};

export type Dashboard = Json<Omit<grafana.Dashboard, "panels"> & { panels: Panel[] }>;
