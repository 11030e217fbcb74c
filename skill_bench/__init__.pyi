from skill_bench.api.compare import compare as compare
from skill_bench.api.distill import distill as distill
from skill_bench.api.evaluate import evaluate as evaluate
from skill_bench.api.export import export as export
from skill_bench.api.profile import profile as profile
from skill_bench.api.results import Results as Results
from skill_bench.api.results import load_results as load_results
from skill_bench.api.similarity import similarity as similarity
from skill_bench.base.errors import SkillBenchError as SkillBenchError

__version__: str
__all__: list[str]
