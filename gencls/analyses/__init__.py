"""What a chapter computes, apart from how it is told: tables of estimates out of a world's scores and trials."""
