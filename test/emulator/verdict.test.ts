import { sample, verdicts } from "./verdict.ts"

verdicts(sample)
