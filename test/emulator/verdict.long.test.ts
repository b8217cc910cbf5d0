import { sample, verdicts } from "./verdict.ts"

verdicts((fault, situation) => !sample(fault, situation))
